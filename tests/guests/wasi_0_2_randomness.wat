;; A command of WASI 0.2 that asks for LENGTH bytes of randomness by one call, without end.
(component
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (core module $libc
    (memory (export "memory") 512)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
  (core instance $libc (instantiate $libc))
  (core func $get (canon lower (func $random "get-random-bytes")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $main
    (import "host" "get" (func $get (param i64 i32)))
    (func (export "run") (result i32)
      (loop $for_ever (call $get (i64.const LENGTH) (i32.const 16)) (br $for_ever))
      (i32.const 0)))
  (core instance $main (instantiate $main (with "host" (instance (export "get" (func $get))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $run (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $run)))
