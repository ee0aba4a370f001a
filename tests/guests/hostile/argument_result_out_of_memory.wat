;; Told to, has the result of recv put where it has no memory.
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (call $recv (i32.const 0) (i32.const 0x7ffffff0))))
  (call $ok))
