;; Told to, calls a place of a table that has no function.
(type $anything (func))
(table $table 1 funcref)
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (call_indirect $table (type $anything) (i32.load8_u (i32.const 4000)))))
  (call $ok))
