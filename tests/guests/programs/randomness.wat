;; Asks for 60 MB of randomness by one call, without end.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 960)
  (func (export "_start")
    (loop $for_ever (drop (call $random_get (i32.const 65536) (i32.const 60000000))) (br $for_ever))))
