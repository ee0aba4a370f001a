;; Told to, asks for more bytes without end, end-of-stream and errors or not.
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then (loop $more (drop (call $hear)) (br $more))))
  (call $ok))
