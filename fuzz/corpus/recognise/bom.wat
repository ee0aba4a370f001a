 ;; only a comment
