;; Hears a message, then waits for another 1200 times in a row, for 50 ms each.
(func $handle (result i32) (local $times i32)
  (drop (call $hear))
  (call $set_timeout (i32.const 1) (i64.const 50000000))
  (loop $again
    (drop (call $hear))
    (local.set $times (i32.add (local.get $times) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $times) (i32.const 1200))))
  (call $ok))
