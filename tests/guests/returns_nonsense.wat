;; Told to, fails with a text that is not in its memory.
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (i32.store8 (i32.const 32) (i32.const 1))
      (i32.store (i32.const 36) (i32.const 0x7fff0000))
      (i32.store (i32.const 40) (i32.const 100000))))
  (i32.const 32))
