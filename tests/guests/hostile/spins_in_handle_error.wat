;; Told to, fails in handle, and spins without end when it is told of that.
(data (i32.const 64) "no handle\00")
(func $verify_request (param i32 i32 i32 i32) (result i32) (i32.const 1))
(func $handle_error (param i32 i32 i32 i32 i32 i32) (loop $for_ever (br $for_ever)))
(func $service_actions)
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (return (call $fail (i32.const 64)))))
  (call $ok))
