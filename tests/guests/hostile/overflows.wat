;; Told to, divides the least number by minus one.
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (drop (i32.div_s (i32.const 0x80000000) (i32.sub (i32.load8_u (i32.const 4000)) (i32.const 1))))))
  (call $ok))
