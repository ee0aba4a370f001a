;; Told to, traps in finish.
(func $handle (result i32) (drop (call $told_to_misbehave)) (call $ok))
(func $finish (result i32)
  (if (global.get $told) (then (unreachable)))
  (call $ok))
