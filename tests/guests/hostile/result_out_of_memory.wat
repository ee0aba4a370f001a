;; Told to, says that its result is where it has no memory.
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (return (i32.const 0x7ffffff0))))
  (call $ok))
