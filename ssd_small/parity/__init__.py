"""Compare an engine with its reference: what differs, by how much, and what causes it.

The modules, in the order in which a comparison uses them:

- the two sides: ``side``, ``opening``, ``pictures``, ``naming`` (which class is which)
- the verdict: ``parity``, from a ``comparison`` of detections and heads picture by picture
  (``recording``, ``detection_differences``, ``overlap_matching``, ``head_differences``) or with a
  ``result_file``, and of the engine with itself (``self_consistency``)
- average precision: ``precision_difference``, ``match_tables``, ``resampling``
- graphs, in :mod:`ssd_small.runtimes`: ``graph_files`` (read from a file), ``cuts`` (parts to run)
- by stage: ``attribution``, ``swaps``, ``stage_cost``, ``changed_detections``; ``side_stages`` cuts
  a side into ``picture_stages``, ``engine_graph`` and ``head_stages`` (whose behaviour ``executed``
  and ``nms_rules`` find by experiment)
- by layer: ``heads_graphs``, ``first_layer``, ``layer_errors``, ``shared_cuts``, ``tensorrt_parts``
"""
