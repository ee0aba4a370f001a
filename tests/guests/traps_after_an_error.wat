;; Told to, fails in handle, and traps once its error has been read.
(data (i32.const 64) "no handle\00")
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (return (call $fail (i32.const 64)))))
  (call $ok))
(func (export "cabi_post_wharf:handler/stream-handler@VERSION#handle") (param i32)
  (if (i32.load8_u (local.get 0)) (then (unreachable))))
