;; Says nothing before it has heard a message, and fails without one: with the name of the error, or with `no message`.
(data (i32.const 64) "no message\00")
(func $handle (result i32) (local $heard i32)
  (local.set $heard (call $hear))
  (if (i32.eqz (local.get $heard)) (then (return (call $fail (i32.const 64)))))
  (if (i32.eq (local.get $heard) (i32.const -1)) (then (return (call $fail (call $error_heard)))))
  (call $ok))
