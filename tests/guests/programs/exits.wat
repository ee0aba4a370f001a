;; Says `bye`, reads nothing, and exits with the status that its one argument is (a digit).
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "bye")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 3))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    ;; 2048: pointers to the arguments, 4096: their text
    (drop (call $args_get (i32.const 2048) (i32.const 4096)))
    (call $proc_exit (i32.sub (i32.load8_u (i32.load (i32.const 2052))) (i32.const 48)))))
