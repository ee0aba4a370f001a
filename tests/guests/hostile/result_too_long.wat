;; Told to, fails with a text as long as 32 bits can say.
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (i32.store8 (i32.const 32) (i32.const 1))
      (i32.store (i32.const 36) (i32.const 64))
      (i32.store (i32.const 40) (i32.const -1))
      (return (i32.const 32))))
  (call $ok))
