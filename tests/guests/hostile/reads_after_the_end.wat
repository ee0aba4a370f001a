;; Told to, says that it will hear no more, and listens all the same.
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (call $shutdown (i32.const 0) (i32.const 16))
      (loop $for_ever (drop (call $hear)) (br $for_ever))))
  (call $ok))
