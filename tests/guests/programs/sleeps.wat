;; Reads a byte at a time from stdin: for `!` it says `busy` and sleeps for an hour, for `?` it says so and spins without end.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "busy\0a")
  (func $busy
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 5))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start") (local $byte i32)
    (loop $next
      (i32.store (i32.const 0) (i32.const 128))
      (i32.store (i32.const 4) (i32.const 1))
      (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (if (i32.eqz (i32.load (i32.const 8))) (then (return)))
      (local.set $byte (i32.load8_u (i32.const 128)))
      (if (i32.eq (local.get $byte) (i32.const 0x21))
        (then
          (call $busy)
          ;; From 256 a subscription to the clock, from 320 the event, at 384 how many.
          (i32.store (i32.const 272) (i32.const 1))
          (i64.store (i32.const 280) (i64.const 3600000000000))
          (drop (call $poll_oneoff (i32.const 256) (i32.const 320) (i32.const 1) (i32.const 384)))))
      (if (i32.eq (local.get $byte) (i32.const 0x3f))
        (then (call $busy) (loop $for_ever (br $for_ever))))
      (br $next))))
