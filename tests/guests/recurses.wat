;; Told to, calls itself without end.
(func $deeper (param $depth i32) (result i32)
  (i32.add (call $deeper (i32.add (local.get $depth) (i32.const 1))) (local.get $depth)))
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (drop (call $deeper (i32.const 0)))))
  (call $ok))
