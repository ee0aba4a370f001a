;; Told to, spins without end in finish.
(func $handle (result i32) (drop (call $told_to_misbehave)) (call $ok))
(func $finish (result i32)
  (if (global.get $told) (then (loop $for_ever (br $for_ever))))
  (call $ok))
