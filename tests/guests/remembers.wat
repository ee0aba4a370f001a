;; Remembers each message in a place of its own, some of them in memory that it grew by, and answers with the sum of all bytes.
(memory (export "memory") 1)
(global $messages (mut i32) (i32.const 0))
(func $handle (result i32) (local $at i32) (local $sum i32) (local $message i32)
  (drop (memory.grow (i32.const 1)))
  (block $end
    (loop $next
      (br_if $end (i32.le_s (call $hear) (i32.const 0)))
      ;; 4,000 bytes apart, from 4,096 on.
      (i32.store8
        (i32.add (i32.const 4096) (i32.mul (global.get $messages) (i32.const 4000)))
        (i32.load8_u (i32.const 2048)))
      (global.set $messages (i32.add (global.get $messages) (i32.const 1)))
      (local.set $sum (i32.const 0))
      (local.set $message (i32.const 0))
      (loop $add
        (local.set $at (i32.add (i32.const 4096) (i32.mul (local.get $message) (i32.const 4000))))
        (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
        (local.set $message (i32.add (local.get $message) (i32.const 1)))
        (br_if $add (i32.lt_u (local.get $message) (global.get $messages))))
      (i32.store (i32.const 48) (local.get $sum))
      (call $send (i32.const 48) (i32.const 4) (i32.const 16))
      (br $next)))
  (call $ok))
