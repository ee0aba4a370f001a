;; Told to, opens its first folder without end, and closes nothing.
(import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(data (i32.const 64) ".")
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (loop $for_ever
        (drop
          (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 0)
            (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 144)))
        (br $for_ever))))
  (call $ok))
