;; Told to, sends without end and never hears again.
(data (i32.const 64) "I talk and do not listen. \00")
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (loop $more
        (br_if $more (i32.eqz (call $say (i32.const 64)))))))
  (call $ok))
