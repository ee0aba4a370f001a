;; Told to, fails in handle. Finish is called all the same.
(data (i32.const 64) "no handle\00")
(data (i32.const 128) "finished\00")
(func $handle (result i32)
  (if (call $told_to_misbehave) (then (return (call $fail (i32.const 64)))))
  (call $ok))
(func $finish (result i32) (drop (call $say (i32.const 128))) (call $ok))
