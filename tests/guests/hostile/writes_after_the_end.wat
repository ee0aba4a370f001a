;; Told to, says that it will say no more, and speaks all the same.
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (call $shutdown (i32.const 1) (i32.const 16))
      (loop $for_ever (drop (call $say (i32.const 1216))) (br $for_ever))))
  (call $ok))
