;; A whole stream handler as a component. BODY becomes what every fixture can call and the fixture's own fields;
;; MEMORY its memory, one page unless the fixture declares another.
(component
  (import "wharf:handler/connection@VERSION" (instance $connection
    (type $code (variant
      (case "timed-out") (case "connection-reset") (case "broken-pipe") (case "message-too-large")
      (case "not-permitted") (case "other" string)))
    (export "error-code" (type $error (eq $code)))
    (export "recv" (func (param "max" u32) (result (result (list u8) (error $error)))))
    (export "send" (func (param "data" (list u8)) (result (result (error $error)))))
    (type $way (enum "read" "write" "both"))
    (export "direction" (type $direction (eq $way)))
    (export "shutdown" (func (param "how" $direction) (result (result (error $error)))))
    (export "set-timeout" (func (param "timeout" (option u64))))))

  ;; `recv` needs somewhere to put what it heard before the handler itself exists. One place is enough: a session
  ;; looks at what it heard before it hears more.
  (core module $Memory
    MEMORY
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 2048)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $shared))
  (alias core export $memory "realloc" (core func $realloc))

  (alias export $connection "recv" (func $connection_recv))
  (alias export $connection "send" (func $connection_send))
  (alias export $connection "shutdown" (func $connection_shutdown))
  (alias export $connection "set-timeout" (func $connection_set_timeout))
  (core func $recv (canon lower (func $connection_recv) (memory $shared) (realloc $realloc)))
  (core func $send (canon lower (func $connection_send) (memory $shared) (realloc $realloc)))
  (core func $shutdown (canon lower (func $connection_shutdown) (memory $shared) (realloc $realloc)))
  (core func $set_timeout (canon lower (func $connection_set_timeout)))

  (core module $Handler
    (import "memory" "memory" (memory 1))
    (import "connection" "recv" (func $recv (param i32 i32)))
    (import "connection" "send" (func $send (param i32 i32 i32)))
    (import "connection" "shutdown" (func $shutdown (param i32 i32)))
    (import "connection" "set-timeout" (func $set_timeout (param i32 i64)))
    BODY
    (export "setup" (func $setup))
    (export "handle" (func $handle))
    (export "finish" (func $finish)))
  (core instance $handler (instantiate $Handler
    (with "memory" (instance $memory))
    (with "connection" (instance
      (export "recv" (func $recv))
      (export "send" (func $send))
      (export "shutdown" (func $shutdown))
      (export "set-timeout" (func $set_timeout))))))

  (type $step (func (result (result (error string)))))
  (alias core export $handler "setup" (core func $core_setup))
  (alias core export $handler "handle" (core func $core_handle))
  (alias core export $handler "finish" (core func $core_finish))
  (func $setup (type $step) (canon lift (core func $core_setup) (memory $shared)))
  (func $handle (type $step) (canon lift (core func $core_handle) (memory $shared)))
  (func $finish (type $step) (canon lift (core func $core_finish) (memory $shared)))
  (instance $stream_handler
    (export "setup" (func $setup))
    (export "handle" (func $handle))
    (export "finish" (func $finish)))
  (export "wharf:handler/stream-handler@VERSION" (instance $stream_handler)))
