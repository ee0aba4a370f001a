;; Traps before it is even an instance.
(func $start unreachable)
(start $start)
