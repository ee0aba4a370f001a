;; Told to, exits in handle, as programs do through WASI 0.1.
(import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (call $proc_exit (i32.const 3))))
  (call $ok))
