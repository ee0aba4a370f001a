;; Traps in verify-request for a client whose address ends with a 3, and in handle-error always. Otherwise it says that
;; setup was called, and answers `ok` until it is told to trap.
(data (i32.const 64) "setup \00")
(func $verify_request (param $kind i32) (param $ip i32) (param $length i32) (param $port i32) (result i32)
  (if (i32.eq (i32.load8_u (i32.sub (i32.add (local.get $ip) (local.get $length)) (i32.const 1))) (i32.const 0x33))
    (then unreachable))
  (i32.const 1))
(func $handle_error (param i32 i32 i32 i32 i32 i32) unreachable)
(func $service_actions)
(func $setup (result i32) (drop (call $say (i32.const 64))) (call $ok))
(func $handle (result i32)
  (if (call $told_to_misbehave) (then unreachable))
  (call $ok))
