;; Told to, divides by zero.
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (drop (i32.div_u (i32.const 1) (i32.load8_u (i32.const 4000))))))
  (call $ok))
