;; Reads a byte at a time, and is at something else after each: for `!` it sleeps for an hour, for `?` it spins without end, both of
;; which it says first; for a digit it sleeps so many tenths of a second. At the end it says `woke`, and fails, if it has slept.
(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
(memory (export "memory") 1)
(data (i32.const 64) "busy\0a\00")
(data (i32.const 96) "woke\00")
(data (i32.const 128) "all was read\00")
(global $slept (mut i32) (i32.const 0))
;; From 256 a subscription to the clock, from 320 the event, at 384 how many.
(func $sleep (param $nanoseconds i64)
  (i64.store (i32.const 256) (i64.const 0))
  (i64.store (i32.const 264) (i64.const 0))
  (i32.store (i32.const 272) (i32.const 1))
  (i64.store (i32.const 280) (local.get $nanoseconds))
  (i64.store (i32.const 288) (i64.const 0))
  (i64.store (i32.const 296) (i64.const 0))
  (if (call $poll_oneoff (i32.const 256) (i32.const 320) (i32.const 1) (i32.const 384)) (then unreachable)))
(func $handle (result i32) (local $byte i32)
  (block $end
    (loop $next
      (call $recv (i32.const 1) (i32.const 0))
      (br_if $end (i32.load8_u (i32.const 0)))
      (br_if $end (i32.eqz (i32.load (i32.const 8))))
      (local.set $byte (i32.load8_u (i32.load (i32.const 4))))
      (if (i32.lt_u (i32.sub (local.get $byte) (i32.const 48)) (i32.const 10))
        (then
          (global.set $slept (i32.const 1))
          (call $sleep (i64.mul (i64.extend_i32_u (i32.sub (local.get $byte) (i32.const 48))) (i64.const 100000000)))))
      (if (i32.eq (local.get $byte) (i32.const 0x21))
        (then (drop (call $say (i32.const 64))) (call $sleep (i64.const 3600000000000))))
      (if (i32.eq (local.get $byte) (i32.const 0x3f))
        (then (drop (call $say (i32.const 64))) (loop $for_ever (br $for_ever))))
      (br $next)))
  (if (global.get $slept)
    (then
      (drop (call $say (i32.const 96)))
      (return (call $fail (i32.const 128)))))
  (call $ok))
