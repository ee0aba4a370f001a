;; Told to, fails with a text that is none.
(data (i32.const 64) "\ff\fe\fd\00")
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (return (call $fail (i32.const 64)))))
  (call $ok))
