;; Fails in setup, whatever its client does.
(data (i32.const 64) "no setup\00")
(func $setup (result i32) (call $fail (i32.const 64)))
