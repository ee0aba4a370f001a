;; Told to, asks the host for 12 MB of randomness by one call, without end.
(import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (drop (memory.grow (i32.const 192)))
      (loop $for_ever (drop (call $random_get (i32.const 65536) (i32.const 12000000))) (br $for_ever))))
  (call $ok))
