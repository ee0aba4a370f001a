;; Told to, sends no bytes without end.
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then (loop $for_ever (call $send (i32.const 0) (i32.const 0) (i32.const 16)) (br $for_ever))))
  (call $ok))
