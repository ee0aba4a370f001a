;; Told to, sends bytes that are not in its memory.
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then (call $send (i32.const 0x7fff0000) (i32.const 100000) (i32.const 16))))
  (call $ok))
