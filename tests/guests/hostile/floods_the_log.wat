;; Told to, prints lines without end.
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(data (i32.const 64) "all work and no play\0a")
(func $handle (result i32)
  (i32.store (i32.const 160) (i32.const 64))
  (i32.store (i32.const 164) (i32.const 21))
  (if (call $told_to_misbehave)
    (then
      (loop $for_ever
        (drop (call $fd_write (i32.const 1) (i32.const 160) (i32.const 1) (i32.const 128)))
        (br $for_ever))))
  (call $ok))
