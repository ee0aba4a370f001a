;; Spins without end in its upkeep.
(func $verify_request (param i32 i32 i32 i32) (result i32) (i32.const 1))
(func $handle_error (param i32 i32 i32 i32 i32 i32))
(func $service_actions (loop $for_ever (br $for_ever)))
(func $handle (result i32) (drop (call $told_to_misbehave)) (call $ok))
