;; Answers each message with which request this is in its instance, until end-of-stream, and traps when told `!`.
(data (i32.const 64) "0 \00")
(global $requests (mut i32) (i32.const 48))
(func $handle (result i32)
  (global.set $requests (i32.add (global.get $requests) (i32.const 1)))
  (i32.store8 (i32.const 64) (global.get $requests))
  (block $end
    (loop $next
      (br_if $end (i32.le_s (call $hear) (i32.const 0)))
      (if (i32.eq (i32.load8_u (i32.const 2048)) (i32.const 33)) (then unreachable))
      (br_if $next (i32.eqz (call $say (i32.const 64))))))
  (call $ok))
