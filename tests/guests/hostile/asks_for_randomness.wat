;; Told to, asks the host for randomness without end.
(import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then (loop $for_ever (drop (call $random_get (i32.const 4096) (i32.const 32768))) (br $for_ever))))
  (call $ok))
