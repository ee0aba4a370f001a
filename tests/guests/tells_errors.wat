;; Fails with the name of the first error that it hears.
(data (i32.const 64) "begin\00")
(func $handle (result i32) (local $heard i32)
  (drop (call $say (i32.const 64)))
  (loop $next
    (local.set $heard (call $hear))
    (br_if $next (i32.gt_s (local.get $heard) (i32.const 0))))
  (if (i32.eq (local.get $heard) (i32.const -1)) (then (return (call $fail (call $error_heard)))))
  (call $ok))
