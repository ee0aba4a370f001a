;; Told to, traps before it is even asked to serve.
(func $verify_request (param i32 i32 i32 i32) (result i32)
  (if (call $told_to_misbehave) (then unreachable))
  (i32.const 1))
(func $handle_error (param i32 i32 i32 i32 i32 i32))
(func $service_actions)
