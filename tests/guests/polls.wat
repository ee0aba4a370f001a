;; Told to, asks for more bytes without end, and waits for none of them.
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (call $set_timeout (i32.const 1) (i64.const 0))
      (loop $more (drop (call $hear)) (br $more))))
  (call $ok))
