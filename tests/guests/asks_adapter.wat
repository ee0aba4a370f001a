;; Asks an adapter of WASI 0.1 for what it has beside that, a descriptor that is none, and answers with the error number.
(import "wasi_snapshot_preview1" "adapter_open_badfd" (func $open_badfd (param i32) (result i32)))
(func $handle (result i32)
  (drop (call $hear))
  (i32.store8 (i32.const 48) (i32.add (i32.const 48) (call $open_badfd (i32.const 64))))
  (call $send (i32.const 48) (i32.const 1) (i32.const 16))
  (call $ok))