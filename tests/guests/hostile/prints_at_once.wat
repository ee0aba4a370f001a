;; Told to, prints 12 MB of empty lines by one call, without end.
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (drop (memory.grow (i32.const 192)))
      (memory.fill (i32.const 65536) (i32.const 10) (i32.const 12000000))
      (i32.store (i32.const 160) (i32.const 65536))
      (i32.store (i32.const 164) (i32.const 12000000))
      (loop $for_ever
        (drop (call $fd_write (i32.const 1) (i32.const 160) (i32.const 1) (i32.const 128)))
        (br $for_ever))))
  (call $ok))
