"""An engine beside its reference: what differs, by how much, and where it comes from.

In the order in which a comparison meets them:

- the two sides: ``side``, ``opening``, ``pictures``, ``naming`` (whose class is which)
- the whole: ``parity``, with ``comparison`` of detections and heads picture by picture
  (``recording``, ``detection_differences``, ``overlap_matching``, ``head_differences``), or with a
  ``result_file``, and of the engine with itself (``self_consistency``)
- average precision: ``precision_difference``, ``match_tables``, ``resampling``
- graphs: ``graph_files`` (of a file), ``cuts`` (parts of one, executed)
- by stage: ``attribution``, ``swaps``, ``stage_cost``, ``changed_detections``; a side in stages is
  ``side_stages`` of ``picture_stages``, ``engine_graph`` and ``head_stages`` (``executed``,
  ``nms_rules``: seen by trying)
- by layer: ``heads_graphs``, ``first_layer``, ``layer_errors``, ``shared_cuts``, ``tensorrt_parts``
"""
