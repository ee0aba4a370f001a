;; Told to, reads beyond its memory.
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (drop (i32.load (i32.const 0x7fff0000)))))
  (call $ok))
