;; Told to, fails in finish.
(data (i32.const 64) "no finish\00")
(func $handle (result i32) (drop (call $told_to_misbehave)) (call $ok))
(func $finish (result i32)
  (if (global.get $told) (then (return (call $fail (i32.const 64)))))
  (call $ok))
