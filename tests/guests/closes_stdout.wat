;; Closes its stdout, of which WASI 0.1 has one for each sandbox, and answers with the error number: 0 or, if there is none, 8.
(import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
(func $handle (result i32)
  (drop (call $hear))
  (i32.store8 (i32.const 48) (i32.add (i32.const 48) (call $fd_close (i32.const 1))))
  (call $send (i32.const 48) (i32.const 1) (i32.const 16))
  (call $ok))
