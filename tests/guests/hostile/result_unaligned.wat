;; Told to, says that its result is at an odd place.
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (return (i32.const 33))))
  (call $ok))
