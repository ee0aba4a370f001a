;; Sends without end, and fails with the name of the error that ends it.
(data (i32.const 64) "I talk and do not listen. \00")
(func $handle (result i32)
  (loop $more
    (br_if $more (i32.eqz (call $say (i32.const 64)))))
  (call $fail (i32.add (i32.const 1024) (i32.mul (i32.const 32) (i32.load8_u (i32.const 20))))))
