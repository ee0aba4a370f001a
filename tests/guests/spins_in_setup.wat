;; Told to, spins without end in setup. Nothing that comes later may be heard of.
(data (i32.const 64) "called\00")
(func $setup (result i32)
  (if (call $told_to_misbehave) (then (loop $for_ever (br $for_ever))))
  (call $ok))
(func $handle (result i32) (drop (call $say (i32.const 64))) (call $ok))
(func $finish (result i32) (drop (call $say (i32.const 64))) (call $ok))
