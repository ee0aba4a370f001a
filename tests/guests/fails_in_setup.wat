;; Told to, fails in setup. Nothing that comes later may be heard of.
(data (i32.const 64) "no setup\nforged: this is the same line\00")
(data (i32.const 128) "called\00")
(func $setup (result i32)
  (if (call $told_to_misbehave) (then (return (call $fail (i32.const 64)))))
  (call $ok))
(func $handle (result i32) (drop (call $say (i32.const 128))) (call $ok))
(func $finish (result i32) (drop (call $say (i32.const 128))) (call $ok))
